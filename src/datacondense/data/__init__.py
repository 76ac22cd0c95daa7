"""Names and paths to `ImageSet`s: the Hub and its local mirrors, parquet, image folders, arrays; and out again."""
