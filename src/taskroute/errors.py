"""Every error that taskroute raises.

::

    TaskrouteError
    ├── DefinitionError               something declared in code is wrong; raised where it is declared
    │   ├── PatternError              a routing pattern, or a key made from one
    │   ├── TopologyError             a spec, or specs that do not fit together
    │   ├── HandlerSignatureError     a parameter that nothing can feed
    │   ├── DuplicateHandlerError     two handlers for exactly the same keys
    │   ├── AmbiguousHandlerError     two handlers share keys and neither is more specific
    │   ├── UnknownQueueError         a name that the topology does not have
    │   ├── UnknownExchangeError      a name that the topology does not have
    │   ├── BrokerUrlError            a URL that cannot be used
    │   └── ConfigurationError        an argument of a Worker or Publisher
    ├── PublishError                  this message was not (or may not have been) accepted
    │   ├── UnroutableError           no queue was bound for it
    │   ├── PublishRejectedError      the broker refused it, for example a full queue
    │   ├── PublishTimeoutError       written, outcome unknown
    │   ├── MessageTooLargeError      never written
    │   └── MessageInvalidError       never written: a body or property that is invalid or cannot be encoded
    ├── BrokerError                   the broker or the connection to it
    │   ├── BrokerUnavailableError    not reachable; the message was never written
    │   ├── TopologyMismatchError     the broker has something else under that name
    │   ├── UnsupportedFeatureError   this transport cannot do what a spec asks for
    │   └── ClosedError               used after it was closed
    └── ShutdownTimeoutError          a handler or the broker outlived the shutdown deadline
"""

from __future__ import annotations

from taskroute.exported import exported_by


@exported_by("taskroute")
class TaskrouteError(Exception):
    """Base of every error of this library."""


@exported_by("taskroute")
class DefinitionError(TaskrouteError):
    """Something declared in code is wrong. Raised where it is declared, before any message."""


@exported_by("taskroute")
class PatternError(DefinitionError):
    """A routing pattern, or a routing key made from one, is not valid."""


@exported_by("taskroute")
class TopologyError(DefinitionError):
    """A spec is wrong, or specs do not fit together."""


@exported_by("taskroute")
class HandlerSignatureError(DefinitionError):
    """A handler has a parameter that nothing can feed."""


@exported_by("taskroute")
class DuplicateHandlerError(DefinitionError):
    """Two handlers of one queue take exactly the same routing keys."""


@exported_by("taskroute")
class AmbiguousHandlerError(DefinitionError):
    """Two handlers share routing keys, and neither is more specific than the other."""


@exported_by("taskroute")
class UnknownQueueError(DefinitionError):
    """The topology has no queue of that name."""


@exported_by("taskroute")
class UnknownExchangeError(DefinitionError):
    """The topology has no exchange of that name."""


@exported_by("taskroute")
class BrokerUrlError(DefinitionError):
    """A broker URL cannot be used."""


@exported_by("taskroute")
class ConfigurationError(DefinitionError):
    """An argument of a Worker, a Publisher or a handler is out of range, missing, or in conflict with another.

    Also raised while a message is handled, by a call that can never work there: for example, a handler waits for its
    own worker.
    """


@exported_by("taskroute")
class PublishError(TaskrouteError):
    """A message was not, or may not have been, accepted by the broker."""


@exported_by("taskroute")
class UnroutableError(PublishError):
    """No queue was bound for the message. The broker has dropped it."""


@exported_by("taskroute")
class PublishRejectedError(PublishError):
    """The broker refused the message: a full queue that rejects, or an internal error of the broker."""


@exported_by("taskroute")
class PublishTimeoutError(PublishError):
    """The message was written and not confirmed in time. Whether the broker has it is unknown."""


@exported_by("taskroute")
class MessageTooLargeError(PublishError):
    """The message is larger than the limit. Nothing was written."""


@exported_by("taskroute")
class MessageInvalidError(PublishError):
    """A body or property cannot be encoded, or a body is not what its event says. Nothing was written."""


@exported_by("taskroute")
class BrokerError(TaskrouteError):
    """The broker, or the connection to it, does not do what was asked."""


@exported_by("taskroute")
class BrokerUnavailableError(BrokerError, PublishError):
    """The broker cannot be reached. A message that was being published was never written: safe to repeat."""


@exported_by("taskroute")
class TopologyMismatchError(BrokerError):
    """The broker has something else under a declared name, lacks it, or refuses to declare it."""


@exported_by("taskroute")
class UnsupportedFeatureError(BrokerError):
    """The broker behind this URL cannot do what a spec asks for."""


@exported_by("taskroute")
class ClosedError(BrokerError):
    """A Worker or Publisher was used before it was started or after it was closed."""


@exported_by("taskroute")
class ShutdownTimeoutError(TaskrouteError):
    """A handler or the broker outlived the shutdown deadline; the text says which.

    Messages that were not settled return to their queues.
    """
