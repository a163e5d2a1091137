"""The errors a person can act on. Each message is one line that names the file, row or setting and what to do.

The command line prints the message and exits with status 2; Airflow tasks fail at once without a retry, because
running again on the same input would fail again (ServerUnavailable excepted).
"""


class RerankopsError(Exception):
    """Base of every error that a person has to act on."""


class SettingsError(RerankopsError):
    """A setting is unknown, missing or out of its range."""


class InputError(RerankopsError):
    """Data from outside (a file, a log, a response) is missing, unreadable or of the wrong shape."""


class SchemaMismatch(InputError):
    """A table does not have the columns, types, nulls or unique keys that its record promises."""


class ArtefactMissing(RerankopsError):
    """An address or a named reference points at nothing in the workspace."""


class ArtefactDamaged(RerankopsError):
    """The stored bytes of an artefact are not those its manifest promised."""


class FormatTooNew(RerankopsError):
    """Something was stored by a later version of rerankops, in a format that this one does not know."""


class DiskFull(RerankopsError):
    """There is no room left where an artefact is to be written."""


class ModelUnavailable(RerankopsError):
    """Model weights can neither be found locally nor fetched."""


class NotFinite(RerankopsError):
    """A logit, a signal, a weight or a loss is nan or infinite; nothing can be ranked or learnt with it."""


class GoldLeak(RerankopsError):
    """A gold question, or a near-duplicate of one, is about to enter training data."""


class ServerRefused(RerankopsError):
    """A server answered that it will not do this: wrong credentials, no such index, too old."""


class ServerUnavailable(RerankopsError):
    """A server could not be reached, or was too busy, however often it was asked. Airflow tries the task again."""


class PromotionRefused(RerankopsError):
    """The registry would not move an alias, for example because the champion changed meanwhile."""
