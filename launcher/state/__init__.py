"""ON DISK: what is kept of clusters in the state folder, whether they run or not."""
