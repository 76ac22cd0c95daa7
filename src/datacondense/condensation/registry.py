"""The table of methods: names to settings."""

from collections.abc import Mapping

from datacondense.condensation.dataset_distillation import DatasetDistillationConfig
from datacondense.condensation.distribution_matching import DistributionMatchingConfig
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.gradient_matching_variants import IDCConfig, SiameseMatchingConfig
from datacondense.condensation.method import MethodConfig
from datacondense.condensation.parameter_matching import ParameterMatchingConfig
from datacondense.errors import InputError
from datacondense.user_code import imported

METHODS: Mapping[str, type[MethodConfig]] = {
    "gradient-matching": GradientMatchingConfig,
    "siamese-matching": SiameseMatchingConfig,
    "idc": IDCConfig,
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
    """Return the full name of a built-in method."""
    spelled = ABBREVIATIONS.get(name, name)
    if spelled not in METHODS:
        short = {full: abbreviation for abbreviation, full in ABBREVIATIONS.items()}
        known = ", ".join(f"{full} ({short[full]})" if full in short else full for full in METHODS)
        raise InputError(f"There is no method {name!r}: choose from {known}, or give package.module:Class.")
    return spelled


def method_named(name: str) -> type[MethodConfig]:
    """Return the settings of a method.

    Args:
        name: A built-in name, its abbreviation, or "package.module:Class" of a `MethodConfig` of one's own.

    Returns:
        The class of the settings.

    Raises:
        InputError: There is no such method.
    """
    if ":" not in name:
        return METHODS[method_name(name)]
    found = imported(name, "method")
    if not (isinstance(found, type) and issubclass(found, MethodConfig)):
        raise InputError(f"{name} is no subclass of MethodConfig: name the class of the method's settings.")
    return found
