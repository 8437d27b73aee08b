"""Fields of view: from folders, file names, sample sheets and channel words."""
