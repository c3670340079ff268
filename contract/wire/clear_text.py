"""Texts that are stored in clear in Temporal, so that operators read them without the codec server."""


class ClearText(str):
    """A summary of a run or a step. It says what is done to which instance, and never more.

    The codec knows it by its attribute.
    """

    in_clear = True
