"""What earlier releases called things: their files are read, their options work for one more release."""

from typing import Any

_RENAMED = {
    "average_images": "iterate_averaging",
    "draw": "iteration",
    "draws": "iterations",
    "drawing": "plot",
    "draws_done": "iterations_done",
    "join_classes": "class_collective",
    "recipe": "protocol",
    "whole": "full",
}
_FORMER = {current: former for former, current in _RENAMED.items()}
_OPTIONS = {
    **{f"--{old}".replace("_", "-"): f"--{new}".replace("_", "-") for old, new in _RENAMED.items()},
    "--choice-repeats": "--search-repeats",
    "--choice-seeds": "--search-seeds",
    "--whole-epochs": "--full-epochs",
    "--whole-networks": "--full-networks",
}


def current_name(name: str) -> str:
    """Return what a setting is called today."""
    return _RENAMED.get(name, name)


def current_names(values: Any) -> Any:
    """Return plain JSON values of any release with today's names."""
    return _with_keys(values, _RENAMED)


def former_names(values: Any) -> Any:
    """Return plain JSON values with the names under which earlier releases recorded them."""
    return _with_keys(values, _FORMER)


def is_built_in(tag: str) -> bool:
    """Whether a task's tag is one of this library's, which alone had other names once."""
    return tag.endswith("Cell") and ":" not in tag


def former_task(described: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a task in the form of which its key has been made since the first release."""
    tag, settings = described["cell"], dict(described["settings"])
    if is_built_in(tag) and "data" in settings:
        settings["images"] = settings.pop("data")
    if tag in {"EvaluateCell", "WholeCell"}:
        settings["protocol"] = {
            name: value for name, value in settings["protocol"].items() if name != "repeats"
        }
    elif tag == "ChoiceCell":
        settings["image_lrs"] = settings.pop("scores")
    elif tag == "CondenseCell" and described["inputs"]:
        tag, settings = "TunedCell", {**settings, "iterations": settings["iterations"] or "equal seconds"}
    elif tag == "SelectCell":
        method = settings.pop("method")
        if method == "random":
            tag, settings["seed"] = "RandomCell", settings.get("seed", 0)
        elif method.startswith("forgetting"):
            tag = "ForgettingCell"
            settings |= {"never_learned": "last"} if method == "forgetting-learned" else {}
        else:
            tag, settings["method"] = "ChosenCell", method
    return former_names({**described, "cell": tag, "settings": settings})  # type: ignore[no-any-return]


def current_options(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return a command's arguments with today's names of options."""
    notes, current = [], []
    for argument, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        option, equals, value = argument.partition("=")
        new = _OPTIONS.get(option)
        if option == "--cache" and arguments[0] == "select" and (equals or not after.startswith("-")):
            new = "--selections"  # a folder; alone it is another option
        if new is not None:
            notes.append(f"{option} is now {new}; the old name works in this release for the last time.")
            option = new
        current.append(option + equals + value)
    return current, notes


def _with_keys(values: Any, names: dict[str, str]) -> Any:
    if isinstance(values, dict):
        return {names.get(key, key): _with_keys(value, names) for key, value in values.items()}
    return [_with_keys(value, names) for value in values] if isinstance(values, list | tuple) else values
