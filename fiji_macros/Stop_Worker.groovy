// Stop Worker
//
// Ends the Python process that this menu keeps, and frees its memory. The next call starts a new one.

def lib = new File(ij.IJ.getDirectory("imagej"), "lib/cellpose-fiji-bridge")
def loader = new GroovyClassLoader(getClass().getClassLoader())
loader.addClasspath(lib.path)
def ended = loader.loadClass("CellposeWorker").stop()
ij.IJ.showStatus(ended ? "The Python process was ended" : "No Python process was running")
null
