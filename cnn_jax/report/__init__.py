"""Tables, figures, pages and progress bars from existing results. Nothing here trains."""
