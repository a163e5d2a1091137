"""Label Studio as a channel: a project a batch, graded side by side, pulled by watermark."""

from rerankops.annotation.label_studio.channel import LabelStudioChannel
from rerankops.annotation.label_studio.client import TOKEN, Client, Connection, NotFound, Unsure

__all__ = ["TOKEN", "Client", "Connection", "LabelStudioChannel", "NotFound", "Unsure"]
