"""One reader of tables for all doors: it recognises what people and programs send by content, not by name.

It reads JSON lines, a JSON array, Elasticsearch's bulk format, CSV with any separator, Parquet and Excel workbooks, in
UTF-8, UTF-16 or GB18030, gzipped or not. How a door uses it:

    from rerankops import reading

    with reading.opened(file, settings.reading, known=("event_id", "text")) as table:
        table.require({"event_id": "query_log.fields.event_id"})    # the columns found, and the setting to change
        for place, values in reading.strictly(table.rows, aside):   # aside None: an unusable row is an InputError
            name = reading.identifier(values["event_id"])           # raises Unfit where it would have to guess

- `opened` takes a path, a UPath or bytes (messages then call the bytes `name`). A bad row raises nothing: it comes as
  an `Unusable` with its place, reason and content. A file that is not a table raises `Refused`, an InputError.
- `table.flat`: cells hold what a spreadsheet shows; numbers may be text, and lists are text (`identifiers`). Otherwise
  cells hold JSON values.
- `Aside` collects and counts what is set aside, and fails above a share (`check`). `files_at` lists a folder.
- Values: `text`, `identifier`, `identifiers`, `number`, `whole`, `flag`, `moment` and `mapped` take a cell as read,
  return None for an empty cell, and raise `Unfit` (a ValueError). Its message follows "PLACE: column COLUMN ".
"""

from rerankops.reading.encodings import decoded
from rerankops.reading.folders import Listing, files_at, is_data, listed, shown
from rerankops.reading.parquet import Window
from rerankops.reading.places import Aside, Place, Refused, Row, Unfit, Unusable, shortly, strictly, unusable
from rerankops.reading.tables import Table, opened, text_lines, whole_document
from rerankops.reading.times import moment
from rerankops.reading.values import (
    flag,
    identifier,
    identifiers,
    is_empty,
    mapped,
    number,
    same_signs,
    text,
    whole,
)

__all__ = [
    "Aside",
    "Listing",
    "Place",
    "Refused",
    "Row",
    "Table",
    "Unfit",
    "Unusable",
    "Window",
    "decoded",
    "files_at",
    "flag",
    "identifier",
    "identifiers",
    "is_data",
    "is_empty",
    "listed",
    "mapped",
    "moment",
    "number",
    "opened",
    "same_signs",
    "shortly",
    "shown",
    "strictly",
    "text",
    "text_lines",
    "unusable",
    "whole",
    "whole_document",
]
