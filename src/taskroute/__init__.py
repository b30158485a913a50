"""taskroute: topic-exchange topologies, handlers by routing-key pattern, confirmed publishing."""

__version__ = "0.1.0"
