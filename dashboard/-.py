"""Who may do what: each request is the owner's, a viewer's, a writer's or anyone's, and `gate` alone decides what it gets."""
