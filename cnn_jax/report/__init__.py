"""Tables, figures, pages and progress bars, from results that are there already. A report does not train."""
