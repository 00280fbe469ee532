"""Results for other people's CI: JUnit XML, JSON Schema, what got worse."""
