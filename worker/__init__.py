"""The worker: carries out jobs, one short step a run; arq is its timer and dispatcher."""
