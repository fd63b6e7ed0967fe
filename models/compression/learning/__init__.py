"""Networks, and how they learn: from labels, or from a teacher."""
