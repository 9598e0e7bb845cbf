"""Raw days, tables and datasets on disk: where each is stored and how one is built from another."""
