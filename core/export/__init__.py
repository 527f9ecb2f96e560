"""What leaves the studio: adapter, merged model, model card, loss curve. torch only inside functions that need it."""
