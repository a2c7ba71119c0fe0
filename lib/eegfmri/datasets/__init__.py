"""The datasets: readers of their real layouts, one module each; they know nothing of the simulator."""
