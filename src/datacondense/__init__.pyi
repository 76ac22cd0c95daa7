"""Public names and where they are; `__init__.py` loads each when it is used."""

from .applications.architecture_search import run_search
from .applications.continual_study import ContinualConfig, run_continual
from .applications.distillation import DistillationConfig, distillation_loss
from .applications.replay_memory import ReplayMemory
from .applications.search_config import SearchConfig
from .applications.search_objective import objective
from .applications.search_space import SearchSpace
from .applications.stream import Stream, class_stream, domain_stream
from .condensation.dataset_distillation import DatasetDistillationConfig
from .condensation.descent import FirstOrderConfig, FirstOrderMethod
from .condensation.distribution_matching import DistributionMatchingConfig
from .condensation.gradient_matching import GradientMatchingConfig
from .condensation.gradient_matching_variants import IDCConfig, SiameseMatchingConfig
from .condensation.loop import RunConfig, condense
from .condensation.method import MethodConfig
from .condensation.parameter_matching import ParameterMatchingConfig
from .condensation.presets import recommended
from .condensation.progress import Progress
from .condensation.registry import method_named
from .condensation.schedule import published_schedule
from .data.arrays import from_arrays, from_torch_dataset
from .data.condensed import load_condensed
from .data.config import DataConfig
from .data.data_source import DataSource
from .data.exports import ExportReport, export, load_export
from .data.published import read_published
from .data.sources import load
from .data.splits import DataSplits
from .data.validation import hold_out
from .data.whitening import unwhitened, whitened
from .errors import InputError
from .evaluation.forgetting_counts import ForgettingCounts
from .evaluation.full_training import load_network
from .evaluation.protocol import EvaluationConfig, Score, named_protocol
from .evaluation.scoring import evaluate
from .evaluation.soft_labels import soft_labelled
from .image_set import ImageSet
from .matching.transforms import Transform
from .networks.builder import build_network
from .networks.network import Network
from .networks.torch_state import deterministic
from .ranks import LostRankError
from .reports.continual_page import write_continual
from .reports.grid import draw_grid, plot_grid
from .reports.html_report import write_report
from .reports.noise_page import write_noise
from .reports.observers import (
    CsvObserver,
    PictureObserver,
    TensorBoardObserver,
    progress_bar,
    together,
)
from .reports.publishing import publish_to_folder, push_to_hub
from .reports.search_page import write_search
from .reports.study_page import write_study
from .selection.by_network import SelectionConfig, select
from .selection.forgetting import select_forgetting
from .selection.herding import select_herding
from .selection.k_center import select_k_center
from .selection.random import select_random
from .selection.rded import select_rded
from .selection.teacher import trained_teacher
from .studies.catalogue import find_study
from .studies.config import StudyConfig
from .studies.factory import TaskFactory, grid
from .studies.noise import NoiseConfig, run_noise
from .studies.running import declared, run_study, run_tasks
from .studies.standard import StandardConfig, standard, standard_scores
from .studies.study import Claim, Study
from .tasks.store import Workspace
from .tasks.task import Task
from .tasks.workers import WorkersConfig

__version__: str

__all__ = [
    "Claim",
    "ContinualConfig",
    "CsvObserver",
    "DataConfig",
    "DataSource",
    "DataSplits",
    "DatasetDistillationConfig",
    "DistillationConfig",
    "DistributionMatchingConfig",
    "EvaluationConfig",
    "ExportReport",
    "FirstOrderConfig",
    "FirstOrderMethod",
    "ForgettingCounts",
    "GradientMatchingConfig",
    "IDCConfig",
    "ImageSet",
    "InputError",
    "LostRankError",
    "MethodConfig",
    "Network",
    "NoiseConfig",
    "ParameterMatchingConfig",
    "PictureObserver",
    "Progress",
    "ReplayMemory",
    "RunConfig",
    "Score",
    "SearchConfig",
    "SearchSpace",
    "SelectionConfig",
    "SiameseMatchingConfig",
    "StandardConfig",
    "Stream",
    "Study",
    "StudyConfig",
    "Task",
    "TaskFactory",
    "TensorBoardObserver",
    "Transform",
    "WorkersConfig",
    "Workspace",
    "build_network",
    "class_stream",
    "condense",
    "declared",
    "deterministic",
    "distillation_loss",
    "domain_stream",
    "draw_grid",
    "evaluate",
    "export",
    "find_study",
    "from_arrays",
    "from_torch_dataset",
    "grid",
    "hold_out",
    "load",
    "load_condensed",
    "load_export",
    "load_network",
    "method_named",
    "named_protocol",
    "objective",
    "plot_grid",
    "progress_bar",
    "publish_to_folder",
    "published_schedule",
    "push_to_hub",
    "read_published",
    "recommended",
    "run_continual",
    "run_noise",
    "run_search",
    "run_study",
    "run_tasks",
    "select",
    "select_forgetting",
    "select_herding",
    "select_k_center",
    "select_random",
    "select_rded",
    "soft_labelled",
    "standard",
    "standard_scores",
    "together",
    "trained_teacher",
    "unwhitened",
    "whitened",
    "write_continual",
    "write_noise",
    "write_report",
    "write_search",
    "write_study",
]
