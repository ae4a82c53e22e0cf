"""A USB port as a link: LUNA's device, and what is between its endpoints and the link's bytes."""
