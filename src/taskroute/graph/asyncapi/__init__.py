"""The route graph as an AsyncAPI 3.0.0 document. Pure: nothing is asked of a broker."""
