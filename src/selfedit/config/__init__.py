"""A run's settings: one pydantic model, read from TOML, with dotted overrides.

``Settings`` holds every dial of a run, one file a group. A recipe is a TOML file with some of them;
``--inner.optim.lr 5e-4`` on the command line changes one. Unknown names and values out of bounds
are errors that name the setting.
"""

from selfedit.config.arc import (
    ArcAnswerSettings,
    ArcSettings,
    OracleSettings,
    PrimeSettings,
    SelfEditSpec,
    TTTDataSettings,
)
from selfedit.config.by_name import read_recipe, recipe_names
from selfedit.config.continual import ContinualSettings, named_policy
from selfedit.config.documents import DocumentSettings
from selfedit.config.endpoint import EndpointSettings
from selfedit.config.inner import ALL_LINEAR, InnerSettings, LoraSettings, OptimSettings
from selfedit.config.judge import JudgeSettings
from selfedit.config.knowledge import (
    FORMATS,
    LANGUAGES,
    AnswerSettings,
    DirectiveSettings,
    EditSettings,
    Format,
    FormatName,
    Language,
)
from selfedit.config.measured import EvalSettings
from selfedit.config.own import OwnQuestionSettings
from selfedit.config.retention import (
    REMEDY_CHOICE,
    RetentionSettings,
    parse_remedies,
    remedies_name,
)
from selfedit.config.rl import RewardSettings, RLSettings
from selfedit.config.settings import ALSO_CALLED, Prompting, Settings, make_settings, read_settings
from selfedit.config.tables import (
    CptSettings,
    CrossedSettings,
    ExternalSettings,
    FullSettings,
    PublishedReplaySettings,
    SingleSettings,
)
from selfedit.config.updates import GradientSettings, MovementSettings, MStepSettings

__all__ = [
    "ALL_LINEAR",
    "ALSO_CALLED",
    "FORMATS",
    "LANGUAGES",
    "REMEDY_CHOICE",
    "AnswerSettings",
    "ArcAnswerSettings",
    "ArcSettings",
    "ContinualSettings",
    "CptSettings",
    "CrossedSettings",
    "DirectiveSettings",
    "DocumentSettings",
    "EditSettings",
    "EndpointSettings",
    "EvalSettings",
    "ExternalSettings",
    "Format",
    "FormatName",
    "FullSettings",
    "GradientSettings",
    "InnerSettings",
    "JudgeSettings",
    "Language",
    "LoraSettings",
    "MStepSettings",
    "MovementSettings",
    "OptimSettings",
    "OracleSettings",
    "OwnQuestionSettings",
    "PrimeSettings",
    "Prompting",
    "PublishedReplaySettings",
    "RLSettings",
    "RetentionSettings",
    "RewardSettings",
    "SelfEditSpec",
    "Settings",
    "SingleSettings",
    "TTTDataSettings",
    "make_settings",
    "named_policy",
    "parse_remedies",
    "read_recipe",
    "read_settings",
    "recipe_names",
    "remedies_name",
]
