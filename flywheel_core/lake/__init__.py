"""Raw days, tables and datasets on disk: where everything lies and how one becomes the other."""
