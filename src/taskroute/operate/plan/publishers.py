"""Publishers: who is connected with another topology, as far as the management API tells it. Used by one thread."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from taskroute.operate.management import ManagementApi

_MAY_SEE_ALL: Final = frozenset(("monitoring", "administrator"))
_SHOWN: Final = 12


def may_see_publishers(api: ManagementApi) -> bool:
    """Return whether the user is told of everybody's connections, which takes the tag `monitoring`.

    Raises:
        BrokerUnavailableError: as `ManagementApi.get`.
    """
    told = api.get("whoami")
    tags = told.get("tags", ()) if isinstance(told, Mapping) else ()
    words: Iterable[str] = tags.split(",") if isinstance(tags, str) else map(str, tags)
    return not _MAY_SEE_ALL.isdisjoint(word.strip() for word in words)


def connections_of_others(api: ManagementApi, virtual_host: str, digests: Collection[str]) -> list[str]:
    """Return the names of the connections that run another topology. Raises what `may_see_publishers` does."""
    found = api.get("vhosts", virtual_host, "connections")
    if not isinstance(found, list):
        raise api.unexpected("vhosts", virtual_host, "connections")
    return [text for each in found if isinstance(each, Mapping) if (text := _described(each, digests)) is not None]


def _described(connection: Mapping[str, object], digests: Collection[str]) -> str | None:
    properties = connection.get("client_properties")
    if not isinstance(properties, Mapping) or (digest := properties.get("topology_digest")) in (None, *digests):
        return None
    name = properties.get("connection_name") or "without a name"
    return f"{name} ({connection.get('name')}, topology {str(digest)[:_SHOWN]})"
