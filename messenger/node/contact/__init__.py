"""Life with contacts: who may come in, how they are reached, what goes back and forth."""
