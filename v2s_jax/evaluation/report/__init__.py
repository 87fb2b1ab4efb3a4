"""The evaluation report: tables, plots and one HTML page."""
