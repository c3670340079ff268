"""What can go wrong, as facts that survive the way through Temporal.

    ApplicationError (temporalio)
    ├── NotYet               a wait is not over; asked again until patience ends
    ├── CloudFailed          OpenStack does not answer, or with an error that may pass; asked again
    ├── Refused              a retry cannot help
    │   ├── BadRequest       the order itself is wrong                                  400
    │   ├── NotFound         the thing does not exist, or not for this project          404
    │   ├── AlreadyExists    the name is taken                                          400
    │   ├── Busy             another operation or the state forbids it                  422
    │   ├── Unsupported      this datastore cannot do it                                422
    │   ├── QuotaExceeded    the project's quota, ours or OpenStack's                   413
    │   ├── TicketRefused    the object store does not take a guest's ticket
    │   ├── Expired          the caller has stopped waiting before the admission        503
    │   ├── Unavailable      whoever must do it is away; nothing was changed             503
    │   └── FenceLost        a newer operation has taken over; this one must stop
    ├── ResourceFailed       a server or volume went to ERROR; building goes no further
    ├── EngineFailed         the database engine refused to do its part
    └── GuestProtocolError   a guest answered what nobody can understand

The class name is the `type` under which the error travels; `message` is one sentence that a user can act on.
"""

from typing import ClassVar

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError


class Failed(ApplicationError):
    """An error with a name of ours; subclasses say whether a retry can help, and whether it is nothing unusual."""

    retriable: ClassVar[bool] = False
    expected: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        # the SDK logs no traceback of what is benign
        category = ApplicationErrorCategory.BENIGN if self.expected else ApplicationErrorCategory.UNSPECIFIED
        super().__init__(message, type=type(self).__name__, non_retryable=not self.retriable, category=category)


class NotYet(Failed):
    """The thing waited for has not happened; ask again."""

    retriable = True
    expected = True


class CloudFailed(Failed):
    """OpenStack does not answer, or with an error that may pass; ask again."""

    retriable = True


class Refused(Failed):
    """A retry cannot help; the message says what to change."""

    expected = True


class BadRequest(Refused):
    """The order itself is wrong: an unknown flavor, an invisible network, an impossible name."""


class NotFound(Refused):
    """The thing does not exist, or does not belong to the caller's project."""


class AlreadyExists(Refused):
    """A database, user or other named thing of that name is already there."""


class Busy(Refused):
    """The instance's state, or an operation that runs on it, forbids this one."""


class Unsupported(Refused):
    """The datastore has no such notion."""


class QuotaExceeded(Refused):
    """The project has used up its quota; the message names the resources."""


class TicketRefused(Refused):
    """The object store does not take a ticket: it has run out, was withdrawn, or is not for this."""


class Expired(Refused):
    """The caller gave up waiting before this operation was admitted; nothing was touched."""


class Unavailable(Refused):
    """Whoever must do it does not answer; nothing was changed, or what was is being undone."""


class FenceLost(Refused):
    """A newer operation owns the database; this attempt outlived its own."""


class ResourceFailed(Failed):
    """A resource of the cloud went to ERROR while it was built."""


class EngineFailed(Failed):
    """The database engine could not be initialised, configured, started or stopped."""


class GuestProtocolError(Failed):
    """A guest returned what does not decode, is too large, or was not sealed with its own key."""


def _names(base: type[Failed]) -> set[str]:
    return {base.__name__, *(name for each in base.__subclasses__() for name in _names(each))}


OURS = frozenset(_names(Failed))
# what the caller is told and can change; of the others somebody has to find out why
REFUSALS = frozenset(_names(Refused)) - {"Unavailable", "FenceLost"}


def innermost(error: BaseException) -> BaseException:
    """Return the cause of a failure that says what happened: the first that has one of our names, else the last.

    What lies below one of ours is what it was translated from.
    """
    while isinstance(error, FailureError) and error.cause is not None:
        if isinstance(error, ApplicationError) and error.type in OURS:
            break
        error = error.cause
    return error
