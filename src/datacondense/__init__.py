"""Condense labelled image data sets: from tens of thousands of images to a few synthetic ones per class."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
    from datacondense.condensation.distribution_matching import DistributionMatchingConfig
    from datacondense.condensation.gradient_matching import GradientMatchingConfig, SiameseMatchingConfig
    from datacondense.condensation.loop import Progress, RunConfig, condense
    from datacondense.condensation.method import FirstOrderConfig, FirstOrderMethod, MethodConfig
    from datacondense.condensation.parameter_matching import ParameterMatchingConfig
    from datacondense.condensation.registry import method_named
    from datacondense.condensation.schedule import published_schedule
    from datacondense.data.arrays import from_arrays, from_torch_dataset
    from datacondense.data.config import DataConfig
    from datacondense.data.data_source import DataSource
    from datacondense.data.exports import ExportReport, export, load_export
    from datacondense.data.sources import load
    from datacondense.data.splits import DataSplits
    from datacondense.data.validation import hold_out
    from datacondense.errors import InputError
    from datacondense.evaluation.forgetting_counts import ForgettingCounts
    from datacondense.evaluation.protocol import EvaluationConfig, Score
    from datacondense.evaluation.scoring import evaluate
    from datacondense.image_set import ImageSet
    from datacondense.matching.transforms import Transform
    from datacondense.networks.builder import build_network
    from datacondense.networks.network import Network
    from datacondense.reports.grid import draw_grid, plot_grid
    from datacondense.reports.noise_page import write_noise
    from datacondense.reports.study_page import write_study
    from datacondense.selection.by_network import SelectionConfig, select
    from datacondense.selection.forgetting import select_forgetting
    from datacondense.selection.herding import select_herding
    from datacondense.selection.k_center import select_k_center
    from datacondense.selection.random import select_random
    from datacondense.studies.catalogue import find_study
    from datacondense.studies.config import StudyConfig
    from datacondense.studies.factory import TaskFactory, grid
    from datacondense.studies.noise import NoiseConfig, run_noise
    from datacondense.studies.running import declared, run_study, run_tasks
    from datacondense.studies.study import Claim, Study
    from datacondense.tasks.store import Workspace
    from datacondense.tasks.task import Task
    from datacondense.tasks.workers import WorkersConfig
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "condensation.dataset_distillation": ["DatasetDistillationConfig"],
            "condensation.distribution_matching": ["DistributionMatchingConfig"],
            "condensation.gradient_matching": ["GradientMatchingConfig", "SiameseMatchingConfig"],
            "condensation.loop": ["Progress", "RunConfig", "condense"],
            "condensation.method": ["FirstOrderConfig", "FirstOrderMethod", "MethodConfig"],
            "condensation.parameter_matching": ["ParameterMatchingConfig"],
            "condensation.registry": ["method_named"],
            "condensation.schedule": ["published_schedule"],
            "data.arrays": ["from_arrays", "from_torch_dataset"],
            "data.config": ["DataConfig"],
            "data.data_source": ["DataSource"],
            "data.exports": ["ExportReport", "export", "load_export"],
            "data.sources": ["load"],
            "data.splits": ["DataSplits"],
            "data.validation": ["hold_out"],
            "errors": ["InputError"],
            "evaluation.forgetting_counts": ["ForgettingCounts"],
            "evaluation.protocol": ["EvaluationConfig", "Score"],
            "evaluation.scoring": ["evaluate"],
            "image_set": ["ImageSet"],
            "matching.transforms": ["Transform"],
            "networks.builder": ["build_network"],
            "networks.network": ["Network"],
            "reports.grid": ["draw_grid", "plot_grid"],
            "reports.noise_page": ["write_noise"],
            "reports.study_page": ["write_study"],
            "selection.by_network": ["SelectionConfig", "select"],
            "selection.forgetting": ["select_forgetting"],
            "selection.herding": ["select_herding"],
            "selection.k_center": ["select_k_center"],
            "selection.random": ["select_random"],
            "studies.catalogue": ["find_study"],
            "studies.config": ["StudyConfig"],
            "studies.factory": ["TaskFactory", "grid"],
            "studies.noise": ["NoiseConfig", "run_noise"],
            "studies.running": ["declared", "run_study", "run_tasks"],
            "studies.study": ["Claim", "Study"],
            "tasks.store": ["Workspace"],
            "tasks.task": ["Task"],
            "tasks.workers": ["WorkersConfig"],
        },
    )

__all__ = [
    "Claim",
    "DataConfig",
    "DataSource",
    "DataSplits",
    "DatasetDistillationConfig",
    "DistributionMatchingConfig",
    "EvaluationConfig",
    "ExportReport",
    "FirstOrderConfig",
    "FirstOrderMethod",
    "ForgettingCounts",
    "GradientMatchingConfig",
    "ImageSet",
    "InputError",
    "MethodConfig",
    "Network",
    "NoiseConfig",
    "ParameterMatchingConfig",
    "Progress",
    "RunConfig",
    "Score",
    "SelectionConfig",
    "SiameseMatchingConfig",
    "Study",
    "StudyConfig",
    "Task",
    "TaskFactory",
    "Transform",
    "WorkersConfig",
    "Workspace",
    "build_network",
    "condense",
    "declared",
    "draw_grid",
    "evaluate",
    "export",
    "find_study",
    "from_arrays",
    "from_torch_dataset",
    "grid",
    "hold_out",
    "load",
    "load_export",
    "method_named",
    "plot_grid",
    "published_schedule",
    "run_noise",
    "run_study",
    "run_tasks",
    "select",
    "select_forgetting",
    "select_herding",
    "select_k_center",
    "select_random",
    "write_noise",
    "write_study",
]
