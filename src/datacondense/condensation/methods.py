"""The table of methods: names to settings."""

from collections.abc import Mapping

from datacondense.condensation.config import MethodConfig
from datacondense.condensation.dataset_distillation_config import DatasetDistillationConfig
from datacondense.condensation.distribution_matching_config import DistributionMatchingConfig
from datacondense.condensation.gradient_matching_config import GradientMatchingConfig, SiameseMatchingConfig
from datacondense.condensation.parameter_matching_config import ParameterMatchingConfig
from datacondense.errors import InputError

METHODS: Mapping[str, type[MethodConfig]] = {
    "gradient-matching": GradientMatchingConfig,
    "siamese-matching": SiameseMatchingConfig,
    "distribution-matching": DistributionMatchingConfig,
    "parameter-matching": ParameterMatchingConfig,
    "dataset-distillation": DatasetDistillationConfig,
}
ABBREVIATIONS: Mapping[str, str] = {
    "dc": "gradient-matching",
    "dsa": "siamese-matching",
    "dm": "distribution-matching",
    "dd": "dataset-distillation",
}


def method_name(name: str) -> str:
    """Spell out the name of a method.

    Args:
        name: A name, or what the papers abbreviate it as.

    Returns:
        A key of `METHODS`.

    Raises:
        InputError: There is no such method.
    """
    spelled = ABBREVIATIONS.get(name, name)
    if spelled not in METHODS:
        short = {full: abbreviation for abbreviation, full in ABBREVIATIONS.items()}
        known = ", ".join(f"{full} ({short[full]})" if full in short else full for full in METHODS)
        raise InputError(f"There is no method {name!r}: choose from {known}.")
    return spelled
