"""Human evaluation: pages for annotators and listeners, and what their answers say."""
