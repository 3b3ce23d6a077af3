"""A queue of work that knows no domain: what is waiting, who has it, and until when."""
