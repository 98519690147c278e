"""What people read: sheets, tables, the terminal. No torch."""
