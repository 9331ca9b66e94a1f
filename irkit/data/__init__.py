"""Collections: where they come from, how they are kept, and how they are opened (:func:`irkit.data.open.open_collection`)."""
