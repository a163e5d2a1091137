"""The model that MLflow loads from a version: this file is copied into it, and says which class of rerankops scores.

Nothing is unpickled: the class comes from the installed rerankops, the weights are safetensors.
"""

from mlflow.models import set_model

from rerankops.promotion.flavour import PyfuncRanker

set_model(PyfuncRanker())
