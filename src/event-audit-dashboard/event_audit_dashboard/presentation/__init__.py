"""How things are said and drawn. Pure: values in, words and numbers out."""
