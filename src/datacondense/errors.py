"""The one error family that a user's input can cause.

    ValueError
    └── InputError      a value from outside breaks a rule; the message names the value, the rule and the remedy
        └── ResumeError    (condensation) a run cannot be resumed

The command line catches `InputError` alone, prints its sentence and exits with code 2. Anything else that
escapes is a mistake of this library and keeps its traceback.
"""


class InputError(ValueError):
    """A value given by the user breaks a rule; the message names the value, the rule and the remedy."""
