"""What travels over HTTP: request bodies (strict) and answers (whose readers ignore what they do not know)."""
