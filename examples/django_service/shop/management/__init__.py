"""Django looks for the commands of an application here."""
