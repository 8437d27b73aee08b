// Stop Worker
//
// Ends the Python process that Segment Image keeps, and frees its memory. The next call starts a new one.

import ij.IJ

def running = IJ.getProperty("cellpose-fiji.service")
if (running != null && running.isAlive()) {
	running.kill()
	IJ.showStatus("The Python process was ended")
} else IJ.showStatus("No Python process was running")
IJ.setProperty("cellpose-fiji.service", null)
null
