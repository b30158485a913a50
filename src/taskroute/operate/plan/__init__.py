"""Plan: from what targets declare and what a broker has to the steps between them, and doing these steps."""
