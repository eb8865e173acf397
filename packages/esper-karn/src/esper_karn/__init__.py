"""Memory of Esper: event reader, reducer and view models."""
