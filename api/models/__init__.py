"""Request bodies, as strict as Trove's schemas and as lenient as its clients need: a module for each noun."""
