"""Every method and baseline behind scikit-learn's ``fit`` and ``predict``, given `eegfmri.windows.Windows`."""
