"""What a person looks at: tables as Markdown, pictures, a run's page."""
