"""Studies behind one committed table each: how ScrapSim was asked, not how it is used."""
