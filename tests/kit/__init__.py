"""What the tests share, one concept a module; no test is in here."""
