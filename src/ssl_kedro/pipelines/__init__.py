"""Kedro pipelines, one folder each; see :class:`ssl_kedro.pipelines.entrance.Entrance`."""
