"""Damaged artifacts that the gates must reject: one function per mutant, in `catalogue.MUTANTS`."""
