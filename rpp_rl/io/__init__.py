"""Files and borders: what is written atomically, what is read with mistrust, and how mistakes of the user end."""
