"""The application: orders are placed over HTTP and packed by the worker."""
