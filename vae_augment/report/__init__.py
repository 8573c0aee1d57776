"""One HTML page of a bank: contact sheets, plots and a live decoder."""
